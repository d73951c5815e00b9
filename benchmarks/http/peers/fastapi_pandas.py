"""What people write today: a FastAPI app that makes a DataFrame of the row and asks the pickled pipeline.

MODEL=pipeline.joblib uvicorn fastapi_pandas:app
"""

import os

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel, create_model

pipeline = joblib.load(os.environ["MODEL"])
_texts = set(pipeline[0].transformers_[1][2])
_fields = {name: ((str if name in _texts else float) | None, None) for name in pipeline.feature_names_in_}
Row = create_model("Row", **_fields)


class Prediction(BaseModel):
    """What is answered."""

    prediction: str


app = FastAPI()


@app.post("/predict")
def predict(row: Row) -> Prediction:
    """Score a row on a thread of the pool."""
    return Prediction(prediction=pipeline.predict(pd.DataFrame([row.model_dump()]))[0])


@app.post("/predict-async")
async def predict_async(row: Row) -> Prediction:
    """Score a row on the event loop: fewer threads to change between."""
    return Prediction(prediction=pipeline.predict(pd.DataFrame([row.model_dump()]))[0])

"""Which converter takes which estimator made of estimators."""

from collections.abc import Callable
from typing import TypeAlias

from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor, RegressorChain

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import boosting, calibration, reductions, stacking, targets, voting
from model_store.convert.sklearn.features import Blocks
from model_store.convert.sklearn.inner import Predict
from model_store.convert.sklearn.outputs import Answer
from model_store.convert.sklearn.step import Step

Converter: TypeAlias = Callable[[Step, Blocks, GraphWriter, Predict], Answer]
"""It converts the estimators inside with the `Predict` that it is given."""


CONVERTERS: dict[type, Converter] = {
    AdaBoostClassifier: boosting.classifier,
    AdaBoostRegressor: boosting.regressor,
    BaggingClassifier: voting.bagging_classifier,
    BaggingRegressor: voting.bagging_regressor,
    CalibratedClassifierCV: calibration.calibrated,
    ClassifierChain: targets.chained,
    FixedThresholdClassifier: calibration.fixed_threshold,
    MultiOutputClassifier: targets.independent,
    MultiOutputRegressor: targets.independent,
    OneVsOneClassifier: reductions.one_against_one,
    OneVsRestClassifier: reductions.one_against_rest,
    RegressorChain: targets.chained,
    StackingClassifier: stacking.classifier,
    StackingRegressor: stacking.regressor,
    TransformedTargetRegressor: targets.transformed,
    TunedThresholdClassifierCV: calibration.tuned_threshold,
    VotingClassifier: voting.voting_classifier,
    VotingRegressor: voting.voting_regressor,
}

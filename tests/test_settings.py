"""Settings: what the environment says, and what is refused of it."""

from dataclasses import fields

import pytest

from errors import SettingsError
from settings import Settings

NUMBERS = [setting.name for setting in fields(Settings) if setting.type is int]


def test_settings_are_read_from_the_environment() -> None:
    """Each by its name; what is not there, or empty, has its default."""
    given = {"DROPSCORE_BLOB_SOURCE": "eventgrid", "DROPSCORE_THREADS": "3", "DROPSCORE_INCOMING": "", "OTHER": "x"}
    settings = Settings.load(given)
    assert (settings.blob_source, settings.threads, settings.incoming) == ("eventgrid", 3, "incoming")
    assert Settings.load({"DROPSCORE_THREADS": "0", "DROPSCORE_SPLIT_BYTES": "0"}).split_bytes == 0


@pytest.mark.parametrize("text", ["EventGrid", "event_grid", "poling", " "])
def test_a_mistyped_choice_is_refused(text: str) -> None:
    """It does not mean the default: the error says which setting it is and what it may be."""
    with pytest.raises(SettingsError, match="DROPSCORE_BLOB_SOURCE must be one of: polling, eventgrid"):
        Settings.load({"DROPSCORE_BLOB_SOURCE": text})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("text", ["-1", "1.5", "6MB", "1e3", "nan", "9" * 5000])
def test_a_number_that_is_none_or_below_zero_is_refused(name: str, text: str) -> None:
    """Of none of our numbers there can be less than nothing."""
    with pytest.raises(SettingsError, match=f"DROPSCORE_{name.upper()} must be a whole number, and at least"):
        Settings.load({f"DROPSCORE_{name.upper()}": text})


@pytest.mark.parametrize(
    "name", ["block_bytes", "max_record_bytes", "max_expansion", "max_request_bytes", "max_request_rows"]
)
def test_a_size_of_nothing_is_refused(name: str) -> None:
    """With it nothing could be scored at all."""
    with pytest.raises(SettingsError, match="at least 1"):
        Settings.load({f"DROPSCORE_{name.upper()}": "0"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"SCORED": "incoming"}, "DROPSCORE_INCOMING and DROPSCORE_SCORED name the same container"),
        ({"RUNS": "data", "MODELS": "data"}, "DROPSCORE_RUNS and DROPSCORE_MODELS name the same container"),
        ({"EVENTS_QUEUE": "scoring-jobs"}, "DROPSCORE_JOBS_QUEUE and DROPSCORE_EVENTS_QUEUE name the same queue"),
    ],
)
def test_two_things_in_one_place_are_refused(given: dict[str, str], said: str) -> None:
    """Results that lie among the inputs would be scored in turn, and events be taken for jobs."""
    with pytest.raises(SettingsError, match=said):
        Settings.load({f"DROPSCORE_{name}": value for name, value in given.items()})

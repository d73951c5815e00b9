"""Every error Dropscore raises on purpose, in one tree.

DropscoreError
├── InputError                     what was sent to be scored is at fault
│   ├── NameInvalidError           a blob name that cannot be scored under
│   ├── MessageInvalidError        a queue message or request body that cannot be understood
│   ├── OptionsInvalidError        a job option that does not exist or does not fit
│   ├── FormatUnsupportedError     neither CSV nor Parquet by its name, or encrypted
│   ├── FileEmptyError             no bytes at all
│   ├── FileMalformedError         not the format its name says, or cut short
│   ├── RecordTooLargeError        one record larger than a block may be
│   ├── BodyTimeoutError           a request's body that comes too slowly
│   ├── ExpansionError             a compressed file that becomes far larger than text does
│   ├── OutputEncodingError        a result that the input's encoding, or a file without quotes, cannot hold
│   ├── ColumnMissingError         a column the model needs is not there
│   ├── ColumnTypeError            a whole column of a type the model cannot take
│   ├── ThresholdExceededError     more rows rejected than the job allows
│   └── SupersededError            the input was replaced or deleted while it was being scored
├── ModelError                     the model, its package or its registry is at fault
│   ├── ReferenceInvalidError      a model reference that cannot be read
│   ├── ModelNotFoundError         no such model, version or alias
│   ├── EstimatorInvalidError      an estimator that is not fitted, or has a step without a converter
│   ├── SampleInvalidError         a training sample that does not fit the estimator
│   ├── ParityError                the converted model does not answer as the source model does
│   ├── PackageInvalidError        a package that is damaged, unsafe or from a newer Dropscore
│   └── RegistryConflictError      somebody else changed the same entry first
├── StorageError                   blobs and queues
│   ├── BlobNotFoundError          no such blob or container
│   ├── ConditionFailedError       an If-Match or If-None-Match that did not hold
│   ├── BlocksMissingError         staged blocks that another commit has dropped
│   ├── StorageDeniedError         credentials refused
│   └── StorageUnavailableError    throttled, failing or out of reach
├── UnauthorizedError              a request without a key that lets it in
├── ForbiddenError                 a request whose key is not enough for what it asks
├── RunNotFoundError               no receipt with that run id
├── RunCancelledError              a run that was cancelled before it ended
├── RunEndedError                  a run that has ended: it cannot be cancelled, or needs no replay
├── RunUnderWayError               a run that has not ended yet, so that it cannot be replayed, and has no result
├── ResultGoneError                a run's result that a later run has replaced, or somebody has deleted
├── RangeInvalidError              a range of bytes that a file does not have
├── AnswerTooLargeError            a file that is too large for one answer
├── TooManyTransfersError          more on its way, up or down, than there is memory for
├── SettingsError                  a setting that is missing or cannot be read
└── RetriesExhaustedError          a job that failed at every try

Each concrete class has a stable `code`, the HTTP `status` it answers with, and says whether a retry can help.
Messages say what is wrong, where, and what to do; they never contain the values of rows.
"""

from typing import Any, ClassVar


class DropscoreError(Exception):
    """Say what is wrong, where, and what to do about it.

    `file` is "container/name", `row` the 1-based number of the data row in its file (the header is not counted),
    `column` a column's name.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, file: str | None = None, row: int | None = None, column: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.row = row
        self.column = column

    def to_dict(self) -> dict[str, Any]:
        """Return the error as receipts and HTTP answers show it; places that are not known are left out."""
        places = {"file": self.file, "row": self.row, "column": self.column}
        return {"code": self.code, "message": self.message} | {k: v for k, v in places.items() if v is not None}


class InputError(DropscoreError):
    """What was sent to be scored is at fault."""


class NameInvalidError(InputError):
    """A blob's name cannot be scored under."""

    code, status = "name_invalid", 400


class MessageInvalidError(InputError):
    """A queue message or request body cannot be understood."""

    code, status = "message_invalid", 400


class OptionsInvalidError(InputError):
    """A job option does not exist or does not fit."""

    code, status = "options_invalid", 400


class FormatUnsupportedError(InputError):
    """The file is neither CSV nor Parquet by its name, or Parquet whose values are encrypted or elsewhere."""

    code, status = "format_unsupported", 415


class FileEmptyError(InputError):
    """The file has no bytes at all."""

    code, status = "file_empty", 400


class FileMalformedError(InputError):
    """The file is not of the format its name says, or was cut short."""

    code, status = "file_malformed", 400


class RecordTooLargeError(InputError):
    """One record is larger than a block may be."""

    code, status = "record_too_large", 413


class BodyTimeoutError(InputError):
    """A request's body was not here in the time that it may take."""

    code, status = "body_timeout", 408


class ExpansionError(InputError):
    """A compressed file becomes more bytes, for each of its own, than any text of rows does."""

    code, status = "expansion_limit", 413


class OutputEncodingError(InputError):
    """The result has a character that the input's encoding, or a file without quotes, cannot hold."""

    code, status = "output_encoding", 422


class ColumnMissingError(InputError):
    """A column the model needs is not in the file."""

    code, status = "column_missing", 400


class ColumnTypeError(InputError):
    """A whole column has a type the model cannot take."""

    code, status = "column_type", 400


class ThresholdExceededError(InputError):
    """More rows were rejected than the job allows."""

    code, status = "threshold_exceeded", 422


class SupersededError(InputError):
    """The input was replaced or deleted while it was being scored."""

    code, status = "superseded", 409


class ModelError(DropscoreError):
    """The model, its package or its registry is at fault."""


class ReferenceInvalidError(ModelError):
    """A model reference cannot be read."""

    code, status = "reference_invalid", 400


class ModelNotFoundError(ModelError):
    """No such model, version or alias."""

    code, status = "model_not_found", 404


class EstimatorInvalidError(ModelError):
    """The estimator is not fitted, or one of its steps has no converter."""

    code, status = "estimator_invalid", 422


class SampleInvalidError(ModelError):
    """The training sample does not fit the estimator."""

    code, status = "sample_invalid", 422


class ParityError(ModelError):
    """The converted model does not answer as the source model does."""

    code, status = "parity_failed", 422


class PackageInvalidError(ModelError):
    """The package is damaged, unsafe or from a newer Dropscore."""

    code, status = "package_invalid", 500


class RegistryConflictError(ModelError):
    """Somebody else changed the same registry entry first."""

    code, status = "registry_conflict", 409


class StorageError(DropscoreError):
    """Blobs and queues."""


class BlobNotFoundError(StorageError):
    """No such blob or container."""

    code, status = "blob_not_found", 404


class ConditionFailedError(StorageError):
    """An If-Match or If-None-Match did not hold: look again before writing."""

    code, status = "condition_failed", 412


class BlocksMissingError(StorageError):
    """Staged blocks are gone because another commit dropped them: stage them again."""

    code, status, retryable = "blocks_missing", 409, True


class StorageDeniedError(StorageError):
    """The credentials were refused."""

    code, status = "storage_denied", 500


class StorageUnavailableError(StorageError):
    """The storage service throttles, fails or is out of reach."""

    code, status, retryable = "storage_unavailable", 503, True


class UnauthorizedError(DropscoreError):
    """The request has no key that lets it in."""

    code, status = "unauthorized", 401


class ForbiddenError(DropscoreError):
    """The request's key is not enough for what it asks."""

    code, status = "forbidden", 403


class RunNotFoundError(DropscoreError):
    """No receipt with that run id."""

    code, status = "run_not_found", 404


class RunCancelledError(DropscoreError):
    """The run was cancelled before it ended."""

    code, status = "run_cancelled", 409


class RunEndedError(DropscoreError):
    """The run has ended, so that it cannot be cancelled or needs no replay."""

    code, status = "run_ended", 409


class RunUnderWayError(DropscoreError):
    """The run has not ended yet, so that it cannot be replayed, and has no result."""

    code, status = "run_under_way", 409


class ResultGoneError(DropscoreError):
    """The run's result was replaced by a later run's, or deleted."""

    code, status = "result_gone", 410


class RangeInvalidError(DropscoreError):
    """The file has nothing of the range of bytes that is asked for."""

    code, status = "range_invalid", 416


class AnswerTooLargeError(DropscoreError):
    """The file is too large for one answer: it can be asked for in ranges."""

    code, status = "answer_too_large", 413


class TooManyTransfersError(DropscoreError):
    """More is on its way, up or down, than there is memory for."""

    code, status, retryable = "too_many_transfers", 503, True


class SettingsError(DropscoreError):
    """A setting is missing or cannot be read."""

    code, status = "settings_invalid", 500


class RetriesExhaustedError(DropscoreError):
    """A job failed at every try the queue allows."""

    code, status = "retries_exhausted", 500

"""The package's exception tree: one root, one class for each thing a user can put right."""


class TrainError(Exception):
    """Root of every error that this package raises on purpose."""


class ConfigError(TrainError):
    """The experiment's TOML file is wrong: unknown key, wrong type or impossible value."""


class DataError(TrainError):
    """A data set is missing, truncated or does not fit its own list."""


class ExportError(TrainError):
    """An exported model does not do what the trained model does."""

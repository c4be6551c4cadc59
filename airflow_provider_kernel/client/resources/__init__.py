"""The resources of the API, one room each."""

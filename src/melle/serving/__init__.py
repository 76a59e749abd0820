"""HTTP API and web page: ``python -m melle serve`` (extra ``serve``)."""

"""Errors as OpenAI's API shapes them: a status, and JSON that says what is wrong and with which parameter."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from melle.errors import UserError

logger = logging.getLogger(__name__)
PLAIN = {  # kinds of faults that pydantic describes by words of Python
    "missing": "is missing",
    **dict.fromkeys(
        ("dict_type", "model_type", "model_attributes_type"), "give a JSON object, with Content-Type: application/json"
    ),
    "string_unicode": "holds half of a character (\\ud800 to \\udfff alone); correct it",
}


class ApiError(Exception):
    """Ends a request. ``code`` is for programs, ``param`` the parameter at fault."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None):
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    def as_dict(self) -> dict:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}.get(self.status)
        return JSONResponse(self.as_dict(), self.status, headers)


def add_error_handlers(app: FastAPI) -> None:
    """Let every error of ``app`` have this shape; what is not the client's is in the log alone."""

    async def api_error(_: Request, error: ApiError) -> JSONResponse:
        return error.response()

    async def user_error(_: Request, error: UserError) -> JSONResponse:  # what the server's user can fix
        logger.error("%s", error)
        return ApiError(500, "the server failed; its log says why", "internal_error").response()

    async def http_error(_: Request, error: HTTPException) -> JSONResponse:  # no such path or method, broken JSON
        return ApiError(error.status_code, HTTPStatus(error.status_code).phrase.lower()).response()

    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"] if part != "body"]
        name = place[0] if place and first["type"] != "json_invalid" else None
        said = "give a file, such as -F audio=@voice.wav" if "UploadFile" in first["msg"] else None
        said = said or PLAIN.get(first["type"]) or first["msg"]
        return ApiError(400, f"{name or 'the request'}: {said}", first["type"], name).response()

    async def unexpected(_: Request, __: Exception) -> JSONResponse:
        return ApiError(500, "the server failed; its log says why", "internal_error").response()

    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(UserError, user_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unexpected)

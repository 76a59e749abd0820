"""Requests that no honest client makes: each gets an error or nothing, and the server goes on."""

import os
import threading
from collections import Counter

import httpx

from tests.serving.hostile import Attacker
from tests.serving.test_speech_endpoint import ask

COUNT = 96  # six of each kind


def test_hostile_requests(serve, tmp_path):
    before, here = {path for path in tmp_path.rglob("*")}, sorted(os.listdir())
    with serve(seconds=10, receive_seconds=2) as address:
        attacker = Attacker(address, seed=3)
        replies = [attacker.attack(number) for number in range(COUNT)]
        assert [reply.fault for reply in replies if reply.fault] == []
        kinds = Counter((reply.kind, reply.status) for reply in replies)
        for kind in ("broken_json", "odd_voice", "broken_form", "deep", "odd_upload_name"):
            statuses = {status for name, status in kinds if name == kind}
            assert statuses <= {400, 403, 404, 413, 422}, (kind, statuses)
        slow = attacker.slow_body(20)  # far longer than the server waits
        assert slow.status == 408 and slow.fault is None
        assert ask(address).status_code == 200
        assert httpx.get(f"{address}/health").json()["status"] == "ok"
        new = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} - {
            path.relative_to(tmp_path) for path in before
        }
        assert all(path.parts[0] == "uploaded" for path in new)
        assert sorted(os.listdir()) == here
        assert threading.active_count() < 60

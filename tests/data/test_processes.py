"""Jobs shared by processes: in order, whoever does them, and a worker that cannot begin says why."""

import pytest

from melle.data import processes
from melle.data.processes import map_in_processes
from melle.errors import UserError


@pytest.mark.parametrize("count", [0, 1, 3, 20])
@pytest.mark.parametrize("chunk", [1, 4])
def test_one_worker_does_the_jobs_here_in_order_as_they_are_asked_for(count, chunk):
    done = []
    with map_in_processes(lambda: lambda job: done.append(job) or job**2, iter(range(count)), 1, chunk) as results:
        for job, result in results:
            assert result == job**2 and done[-1] == job
    assert done == list(range(count))


def test_what_hinders_a_worker_is_what_its_jobs_raise(monkeypatch):
    def make():
        raise UserError("the package is missing")

    monkeypatch.setattr(processes, "follow_parent", lambda: None)
    processes._start(make)
    with pytest.raises(UserError, match="the package is missing"):
        processes._work_on([1, 2])

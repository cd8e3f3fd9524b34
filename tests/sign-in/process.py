"""The end of a process that a test has started."""

SECONDS = 60


def end(process):
    """Asks it to end, which it is to do cleanly. It is gone whatever happens."""
    process.terminate()
    try:
        code = process.wait(SECONDS)
    finally:
        process.kill()
        process.wait()
    assert code == 0, code

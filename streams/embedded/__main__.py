"""`python -m streams.embedded`: Apache Kafka and Redis for development, until Ctrl-C or a closed terminal."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import ExitStack, suppress

from streams.embedded.kafka import ApacheKafka
from streams.embedded.redis import RedisServer
from streams.errors import AutodeepError


def main() -> int:
    argparse.ArgumentParser(prog="python -m streams.embedded", description=__doc__).parse_args()
    for told in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(told, signal.default_int_handler)
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        try:
            kafka, redis = stack.enter_context(ApacheKafka()), stack.enter_context(RedisServer())
        except AutodeepError as exc:
            print(exc, file=sys.stderr)
            return exc.exit_code
        print(f"export AUTODEEP_KAFKA_SERVERS={kafka.bootstrap_servers}")
        print(f"export AUTODEEP_REDIS_URL={redis.url}", flush=True)
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())

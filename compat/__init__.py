"""Other people's clients and their own tests, run against a fresh cluster: ``make compat``.

Every Kafka client should work with Ottla unchanged. This package shows how far that is true:

- :mod:`compat.installation` fetches clients and test suites from package registries, pinned, into
  ``.compat/``;
- :mod:`compat.targets` starts what they run against: three Ottla brokers, or Apache Kafka itself;
- :mod:`compat.suites` has one module for each kind of suite: it runs cases and tells how each went;
- ``compat/clients`` has one scenario for each client, in its own language, good as examples too;
- :mod:`compat.expectations` reads ``expectations.toml``: every case that may fail, with a reason;
- :mod:`compat.page` writes ``docs/compatibility.md`` from what a run recorded.

A case that is not excused must pass, or ``make compat`` fails. Running everything against Apache
Kafka (``--target kafka``) shows that the scenarios ask for what Kafka really does.
"""

"""Consumer groups of processes in several languages, and faults: does anything get lost?

One trial is one group on three brokers, while a producer goes on writing:

- :mod:`compat.group_survival.members` starts the programs of ``compat/clients/group_members``,
  which tell line by line what they processed and what they committed after that;
- :mod:`compat.group_survival.watching` writes numbered records, and looks at the committed offsets
  all the time;
- :mod:`compat.group_survival.faults` has what is done to members and brokers, chosen by a seed;
- :mod:`compat.group_survival.account` says what was wrong: a record that nobody processed, an
  offset that went back, a commit that was acknowledged and not seen after that, a record that was
  processed twice for no reason;
- :mod:`compat.group_survival.trial` puts it together.

All programs take their times from the same monotonic clock.
"""

"""Records: written once, found, read, handed out.

    store    Catalog, RecordWriter   a run's record while it runs
    finish   finalise                its end, also after a crash
    read     open_record, Record     everything in it, at any time
    search   Index                   finding it among 100,000
    live     Changes                 what changes, as it changes

Under these: `history` (what events say), `events`, `stream`, `arrays`, `codec`, `units`, `table`, `nexus`, `durable`.
numpy, pyarrow, pandas, xarray and h5py are imported in the functions that need them, and nothing is imported here, so
that a process pays only for the module it uses.
"""

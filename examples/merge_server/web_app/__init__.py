"""The example with a shared resource: `main` is the app, `leases` says who has the resource and until when."""

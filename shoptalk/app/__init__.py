"""The composition root: builds each process's objects from Settings. The one place where stages meet."""

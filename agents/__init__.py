"""The agents: plain async functions, bound to the app by `cutover_app.main`."""

"""Do the tests of the core notice when it is changed? Each small change on its own, and all of them must be noticed."""

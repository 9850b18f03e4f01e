"""Diagnosis of this container: gathers facts once, and runs pure checks over them.

Short-lived commands use this package, and so does garcon for GetDebugInformation: no module is slow to import.
"""

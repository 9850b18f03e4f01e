"""What is wrong with this container, and what to do: pure checks over facts that are gathered once.

Short-lived commands use it, and garcon for GetDebugInformation: nothing here is slow to import.
"""

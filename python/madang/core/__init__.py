"""What every layer stands on: errors, ids, clocks, settings, logging. Imports nothing of Madang."""

"""The connections of one worker: channels, outboxes, fan-out, history."""

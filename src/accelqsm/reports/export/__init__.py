"""Tables and figures of a report as files of other formats."""

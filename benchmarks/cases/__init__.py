"""The measurements: each module is a program against the public interface and yields figures from ``measure()``."""

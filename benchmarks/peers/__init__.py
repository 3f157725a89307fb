"""edgedet beside other detectors and runtimes, each in an environment of its own."""

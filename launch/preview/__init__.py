"""Report and pictures of a data set, for `launch.prepare`; outlines and overlays of masks, for other commands too."""

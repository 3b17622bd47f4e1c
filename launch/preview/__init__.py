"""Report and pictures of a data set, for `launch.prepare`; outlines of masks, for other commands too."""

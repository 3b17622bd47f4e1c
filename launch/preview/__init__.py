"""What `launch.prepare` says and draws of a data set; other commands draw masks over images with it too."""

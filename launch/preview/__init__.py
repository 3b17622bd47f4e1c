"""What a look at a data set draws and says."""

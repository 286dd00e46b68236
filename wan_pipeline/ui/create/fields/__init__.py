"""The fields of the form: how each is drawn, read into a draft and filled from one."""

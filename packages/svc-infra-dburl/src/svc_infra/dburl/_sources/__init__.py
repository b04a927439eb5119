"""The four places where a database URL is looked for, one module each, in this order.

`direct`, variables that hold a URL; `pointers`, variables that hold the path of a file with one; `secrets`, the file
that Docker and Kubernetes mount; `parts`, variables that hold host, name and the rest.
"""

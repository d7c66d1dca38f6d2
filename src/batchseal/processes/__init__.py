"""The processes of the service: how they are started, watched and connected.

supervisor    the process of `serve`: it starts the others, and ends them
child         one of the others, as the supervisor sees it
child_entry   what one of the others does first
link          calls from a worker to the signer
places        where the temp folder is, and whether it may be used
instance      the temp folder, which says who this instance is and whether it runs
open_files    the limit of open files
lean          keeps a package out that no process needs
"""

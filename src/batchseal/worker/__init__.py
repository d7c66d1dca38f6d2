"""What a process that receives requests offers to the API, and the server in front of it."""

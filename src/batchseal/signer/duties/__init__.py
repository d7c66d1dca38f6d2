"""What an instance does by itself, in its signer process: keeps the books true, and purges what has had its time."""

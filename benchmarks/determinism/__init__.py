"""Whether files decode alike under other settings of the machine: tokens to the bit, pictures nearly."""

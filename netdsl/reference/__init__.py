"""What `netdsl explain` tells: of layers and of errors."""

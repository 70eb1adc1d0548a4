#!/bin/sh
# The page of the demonstration: says which container of which image answered, so that a viewer can tell them apart.
printf 'Content-Type: text/plain\r\n\r\n'
printf 'paas monitor: container %s answers\n' "$(hostname)"

"""A channel's streams as the root shell reads them."""

import time

import paramiko

from hardway.remote.sudo import ChannelPipe


def test_data_is_read_also_when_its_sign_was_taken_back_with_the_other_streams() -> None:
    channel = paramiko.Channel(1)
    pipe = ChannelPipe(channel)
    channel.in_buffer.feed(b"answer")
    channel._pipe.clear()  # as a thread that has read the other stream does it in the same moment
    began = time.monotonic()
    assert pipe.receive(5) == (b"answer", b"")
    assert time.monotonic() - began < 1

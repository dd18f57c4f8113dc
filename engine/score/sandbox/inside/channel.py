"""Frames of JSON over a stream socket: how the processes of the sandbox speak with each other."""

from __future__ import annotations

import json
import os
import select
import struct
from typing import Any

HEADER = struct.Struct("=I")
DECODE = json.JSONDecoder().raw_decode
ENCODE = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
LARGEST = 16 << 20  # bytes of one frame


class Broken(Exception):
    """A frame that the encoding does not know, is too long, or did not come."""


class Channel:
    """Frames over a stream socket; reads ahead, so one read may bring many small frames."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._buffer = b""

    def send(self, *messages: Any) -> None:
        """Sends each message as one frame, all in one write where the socket takes it."""
        self.send_bytes(b"".join(map(framed, messages)))

    def send_bytes(self, data: bytes) -> None:
        """Sends bytes as they are."""
        sent = os.write(self.descriptor, data)
        while sent < len(data):
            sent += os.write(self.descriptor, memoryview(data)[sent : sent + (1 << 20)])

    def receive_bytes(self, size: int) -> bytes:
        """The next so many bytes."""
        while len(self._buffer) < size:
            self._buffer += self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def drain(self) -> None:
        """Takes in what has come, without waiting. Broken where the other side goes on without end."""
        while select.select([self.descriptor], [], [], 0)[0]:
            piece = os.read(self.descriptor, 1 << 18)
            self._buffer += piece
            if not piece:
                return
            if len(self._buffer) > 2 * LARGEST:
                raise Broken("more than can be kept")

    def receive(self) -> Any:
        """The next message. EOFError at the end of the stream, Broken for a frame that is none."""
        while True:
            if len(self._buffer) >= 4:
                (size,) = HEADER.unpack_from(self._buffer)
                if size > LARGEST:
                    raise Broken(f"a message of {size} bytes; {LARGEST} are allowed")
                if len(self._buffer) >= 4 + size:
                    break
                pieces, have = [self._buffer], len(self._buffer)
                while have < 4 + size:
                    pieces.append(self._more())
                    have += len(pieces[-1])
                self._buffer = b"".join(pieces)
                continue
            self._buffer += self._more()
        body, self._buffer = self._buffer[4 : 4 + size], self._buffer[4 + size :]
        try:
            text = body.decode()
            message, end = DECODE(text)
        except (ValueError, RecursionError) as error:
            raise Broken(f"a message that is no JSON ({error})") from None
        if end != len(text):
            raise Broken("a message with something behind it")
        return message

    def waiting(self) -> Any:
        """Whether a message, or a part of one, is there to be read."""
        return bool(self._buffer) or bool(select.select([self.descriptor], [], [], 0)[0])

    def _more(self) -> Any:
        piece = os.read(self.descriptor, 1 << 18)
        if not piece:
            raise EOFError("the other side closed the channel")
        return piece


def framed(message: Any) -> Any:
    """The bytes of one frame. Broken when they are too many."""
    body = ENCODE(message).encode()
    if len(body) > LARGEST:
        raise Broken(f"a value of {len(body)} bytes; {LARGEST} are allowed")
    return HEADER.pack(len(body)) + body

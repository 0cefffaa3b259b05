/**
 * Frames of yamux, as HashiCorp's specification has them: version, type, flags (16 bit), stream id (32 bit),
 * length (32 bit), all big-endian; only data frames have a payload.
 */
export const HEADER_SIZE = 12;
export const VERSION = 0;

export const DATA = 0;
/** `length` is added to the window of the stream. */
export const WINDOW_UPDATE = 1;
/** `length` is an opaque value that comes back. */
export const PING = 2;
/** `length` is one of GO_AWAY_*. */
export const GO_AWAY = 3;

export const SYN = 1;
export const ACK = 2;
export const FIN = 4;
export const RST = 8;
export const ALL_FLAGS = SYN | ACK | FIN | RST;

export const GO_AWAY_NORMAL = 0;
export const GO_AWAY_PROTOCOL_ERROR = 1;

/** The window of every new stream, both ways. */
export const INITIAL_WINDOW = 256 * 1024;

export interface Header {
  version: number;
  type: number;
  flags: number;
  id: number;
  length: number;
}

/** Reads the header at `at` into `header`, which callers use again for the next one. */
export function readHeader(from: Buffer, at: number, header: Header): void {
  header.version = from.readUInt8(at);
  header.type = from.readUInt8(at + 1);
  header.flags = from.readUInt16BE(at + 2);
  header.id = from.readUInt32BE(at + 4);
  header.length = from.readUInt32BE(at + 8);
}

export function writeHeader(to: Buffer, at: number, type: number, flags: number, id: number, length: number): void {
  to.writeUInt8(VERSION, at);
  to.writeUInt8(type, at + 1);
  to.writeUInt16BE(flags, at + 2);
  to.writeUInt32BE(id, at + 4);
  to.writeUInt32BE(length, at + 8);
}

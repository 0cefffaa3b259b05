/** By this name two sidelock sidecars agree to carry streams over one connection. */
export const STREAMS_PROTOCOL = 'sidelock/1';

declare module 'smtp-server' {
  import type { Server } from 'node:net';
  import type { Readable } from 'node:stream';

  /** As much of it as the tests use; the package brings no types. */
  export class SMTPServer {
    constructor(options: {
      readonly hideSTARTTLS?: boolean;
      readonly authOptional?: boolean;
      readonly key?: string;
      readonly cert?: string;
      readonly onAuth?: (
        auth: { readonly username?: string; readonly password?: string },
        session: object,
        done: (error: Error | null, answer?: { readonly user: string }) => void,
      ) => void;
      readonly onData: (stream: Readable, session: SmtpSession, done: (error?: Error) => void) => void;
    });
    readonly server: Server;
    listen(port: number, host: string, listening: () => void): void;
    close(closed: () => void): void;
    on(event: 'error', listener: (error: Error) => void): this;
  }

  interface SmtpSession {
    readonly secure: boolean;
    readonly user?: string;
    readonly envelope: {
      readonly mailFrom: { readonly address: string };
      readonly rcptTo: ReadonlyArray<{ readonly address: string }>;
    };
  }
}

import { render } from 'preact';
import { App } from './app.tsx';
import { follow } from './feed.ts';

const root = document.createElement('div');
document.body.append(root);
follow((state) => render(<App {...state} />, root));

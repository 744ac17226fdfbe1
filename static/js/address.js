/** What the page's address asks for. The first module that runs, before anything is waited for. */

import { keepToken, keptToken, readAddress, withoutToken } from './settings.js';

export const address = readAddress(location.search, location.hash);

/** Takes the token out of the address: it is a secret, and addresses are shown, kept and passed on. */
export function takeToken() {
  const { room, token } = readAddress(location.search, location.hash);
  keepToken(room, token);
  address.token = token ?? keptToken(room);
  if (token) history.replaceState(null, '', location.pathname + withoutToken(location.search));
}

takeToken();

/** The link that brings someone else into the room: copied, or shown to be copied by hand. */

import { dateAndTime, t } from './i18n.js';
import { inviteLink } from './settings.js';
import { showLink } from './view/dialogs.js';

/**
 * Rejects where there is no link, with the reason.
 * @param {import('./call.js').Call} call @param {import('./view/notices.js').Notices} notices
 */
export async function copyInvitation(call, notices) {
  const { room } = call.state;
  const invitation = call.invite();
  const link = invitation.then(({ token }) => inviteLink(room, token));
  try {
    // A promise, because an await between the click and the clipboard would lose the permission in Safari.
    const text = link.then((address) => new Blob([address], { type: 'text/plain' }));
    await navigator.clipboard.write([new ClipboardItem({ 'text/plain': text })]);
    const until = expiryOf(await invitation);
    notices.toast(until ? t('toast.copiedUntil', { time: until }) : t('toast.copied'));
  } catch {
    // No clipboard outside of secure pages, or without leave; or no link, which says why.
    const until = expiryOf(await invitation);
    const hint = until ? t('invite.hintUntil', { time: until }) : t('invite.hint');
    showLink(await link, hint, () => notices.toast(t('toast.copied')));
  }
}

/** @param {{token?: string, expires?: number}} invitation @returns {string} in words, or nothing */
function expiryOf({ token, expires }) {
  return token && expires ? dateAndTime(expires) : '';
}

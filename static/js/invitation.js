/** The link that brings someone else into the room: shared, copied, or shown to be copied by hand. */

import { dateAndTime, t } from './i18n.js';
import { roomToText } from './roomname.js';
import { inviteLink, isOnlyHere } from './settings.js';
import { showLink } from './view/dialogs.js';

/** @typedef {import('./view/notices.js').Notices} Notices */

/**
 * Rejects where there is no link, with the reason.
 * @param {import('./call.js').Call} call @param {Notices} notices
 */
export async function passInvitation(call, notices) {
  const { room } = call.state;
  const invitation = call.invite();
  const link = invitation.then(({ token }) => inviteLink(room, token));
  if (hasShareSheet() && (await share(room, link))) return;
  try {
    // A promise, because an await between the click and the clipboard would lose the permission in Safari.
    const text = link.then((address) => new Blob([address], { type: 'text/plain' }));
    await navigator.clipboard.write([new ClipboardItem({ 'text/plain': text })]);
    tell(notices, expiryOf(await invitation));
  } catch {
    // No clipboard outside of secure pages, or without leave; or no link, which says why.
    const until = expiryOf(await invitation);
    const hint = isOnlyHere()
      ? t('invite.hintOnlyHere')
      : until
        ? t('invite.hintUntil', { time: until })
        : t('invite.hint');
    showLink(await link, hint, () => tell(notices, ''));
  }
}

/** On phones and tablets people send links with it; elsewhere it is a window in the way. */
function hasShareSheet() {
  return Boolean(navigator.share) && matchMedia('(pointer: coarse)').matches;
}

/** @param {string} room @param {Promise<string>} link @returns {Promise<boolean>} whether that was all */
async function share(room, link) {
  try {
    await navigator.share({ title: `${roomToText(room)} – Tandem`, url: await link });
    return true;
  } catch (error) {
    return /** @type {Error} */ (error).name === 'AbortError'; // changed their mind
  }
}

/** @param {Notices} notices @param {string} time  until when it works, where it ends */
function tell(notices, time) {
  if (isOnlyHere()) notices.toast(time ? t('toast.copiedUntilOnlyHere', { time }) : t('toast.copiedOnlyHere'));
  else notices.toast(time ? t('toast.copiedUntil', { time }) : t('toast.copied'));
}

/** @param {{token?: string, expires?: number}} invitation @returns {string} in words, or nothing */
function expiryOf({ token, expires }) {
  return token && expires ? dateAndTime(expires) : '';
}

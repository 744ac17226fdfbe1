/** What is said of each event of a call. */

import { t } from '../i18n.js';

/** @typedef {import('../room.js').Event} Event */
/** @typedef {import('../room.js').State} State */

/** @param {Event} event @param {State} before @param {State} state @param {import('./notices.js').Notices} notices */
export function announce(event, before, state, notices) {
  /** @param {string} id */
  const nameOf = (id) => before.participants.find((one) => one.id === id)?.name ?? '';
  switch (event.type) {
    case 'joined':
    case 'grants-updated':
      if (!state.grants.publish) notices.toast(t('toast.onlyWatching'));
      return;
    case 'participant-joined':
      return notices.toast(t('toast.joined', { name: event.participant.name }));
    case 'participant-left':
      if (nameOf(event.participant)) notices.toast(t('toast.left', { name: nameOf(event.participant) }));
      return;
    case 'participant-updated': {
      const old = before.participants.find((one) => one.id === event.participant.id);
      const began = old && !old.metadata.screen && event.participant.metadata?.screen;
      if (began) notices.toast(t('toast.sharing', { name: old.name }));
      return;
    }
    case 'chat':
      if (state.panel === 'chat' || event.from === state.self) return;
      return notices.toast(t('toast.message', { name: event.user, text: event.content.slice(0, 120) }));
    case 'room-updated':
      if (state.locked !== before.locked) notices.toast(t(state.locked ? 'toast.locked' : 'toast.unlocked'));
      if (state.lobby !== before.lobby) notices.toast(t(state.lobby ? 'toast.lobbyOn' : 'toast.lobbyOff'));
      return;
    case 'knock':
      return notices.say(t('knock.one', { name: event.name }));
    case 'error':
      if (event.code === 'relay-unavailable') notices.toast(t('toast.noRelay'));
      return;
    case 'silenced':
      return notices.toast(t('toast.mutedByModerator'));
    default:
  }
}

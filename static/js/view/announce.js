/** What is said of each event of a call, and what a press on it opens. */

import { t } from '../i18n.js';
import { handOf } from '../room.js';
import { shorten } from '../text.js';

/** @typedef {import('../room.js').Event} Event */
/** @typedef {import('../room.js').State} State */

const MESSAGE_SHOWN = 120; // characters of a chat message

/**
 * @param {Event} event @param {State} before @param {State} state
 * @param {import('./notices.js').Notices} notices @param {(panel: 'chat' | 'people') => void} open
 */
export function announce(event, before, state, notices, open) {
  const people = () => open('people');
  switch (event.type) {
    case 'joined':
    case 'grants-updated':
      if (!state.grants.publish) notices.toast(t('toast.onlyWatching'));
      return;
    case 'participant-joined': {
      const { name } = event.participant;
      const back = before.participants.some((one) => one.away && one.name === name);
      return back ? undefined : notices.toast(t('toast.joined', { name }), people);
    }
    case 'participant-left':
    case 'participant-lost': {
      const one = before.participants.find(({ id }) => id === event.participant);
      const stays = state.participants.some(({ id }) => id === event.participant);
      return one && !stays ? notices.toast(t('toast.left', { name: one.name }), people) : undefined;
    }
    case 'participant-updated': {
      const old = before.participants.find((one) => one.id === event.participant.id);
      if (old && !handOf(old) && event.participant.metadata?.hand)
        notices.toast(t('toast.hand', { name: old.name }), people);
      const began = old && !old.metadata.screen && event.participant.metadata?.screen;
      return began ? notices.toast(t('toast.sharing', { name: old.name })) : undefined;
    }
    case 'chat': {
      if (state.panel === 'chat' || event.from === state.self) return;
      const words = { name: event.user, text: shorten(event.content, MESSAGE_SHOWN) };
      return notices.toast(t(event.to ? 'toast.privateMessage' : 'toast.message', words), () => open('chat'));
    }
    case 'room-updated':
      if (state.locked !== before.locked) notices.toast(t(state.locked ? 'toast.locked' : 'toast.unlocked'), people);
      if (state.lobby !== before.lobby) notices.toast(t(state.lobby ? 'toast.lobbyOn' : 'toast.lobbyOff'), people);
      return;
    case 'knock':
      return notices.say(t('knock.one', { name: event.name }));
    case 'error':
      if (event.code === 'relay-unavailable') notices.toast(t('toast.noRelay'));
      return;
    case 'reaction': {
      const one = before.participants.find(({ id }) => id === event.from);
      return notices.say(`${one?.name ?? t('tile.you')}: ${event.reaction}`);
    }
    case 'silenced':
      return notices.toast(t('toast.mutedByModerator'));
    default:
  }
}

/**
 * The wire messages of the signaling protocol, version 1, as types only.
 * The protocol's own text is signaling/PROTOCOL.md.
 *
 * @typedef {'camera' | 'microphone' | 'screen' | 'screen-audio' | 'other'} Source
 * @typedef {'mesh' | 'relay'} Topology
 *
 * @typedef {object} Track  a track that is published through the relay
 * @property {string} id
 * @property {'audio' | 'video'} kind
 * @property {Source} source
 * @property {boolean} muted
 * @property {boolean} [stopped]  nothing comes of it, though it is not muted
 *
 * @typedef {object} Metadata  what this page says about itself; other clients may say nothing
 * @property {boolean} [camera]      whether the camera is on
 * @property {boolean} [microphone]  whether the microphone is on
 * @property {string | null} [screen]  the id of the media stream that carries the screen
 * @property {number | boolean} [hand]  when it went up, ms since the epoch
 * @property {('camera' | 'microphone')[]} [paused]  what the system has taken away for now
 *
 * @typedef {object} Participant
 * @property {string} id
 * @property {string} name
 * @property {Metadata} metadata
 * @property {Track[]} tracks
 * @property {'relay' | 'direct'} [via]
 *
 * @typedef {object} Grants
 * @property {boolean} publish
 * @property {boolean} subscribe
 * @property {boolean} chat
 * @property {boolean} moderate
 * @property {boolean} [data]
 *
 * @typedef {object} RoomInfo
 * @property {string} name
 * @property {Topology} topology
 * @property {boolean} locked
 * @property {boolean} [lobby]  whether those who come have to knock
 *
 * @typedef {object} Joined
 * @property {'joined'} type
 * @property {string} participant
 * @property {string} session
 * @property {RoomInfo} room
 * @property {Participant[]} participants
 * @property {RTCIceServer[]} ice_servers
 * @property {Grants} grants
 * @property {boolean} relay
 * @property {number} heartbeat
 * @property {number} resume_within
 * @property {number} seq
 * @property {ChatMessage[]} [history]  what was written before, the oldest first
 *
 * @typedef {{from: string, user: string, content: string, timestamp: number, to?: string}} ChatMessage
 *
 * @typedef {object} SlotTrack  which track an m-line of the relay's offer carries
 * @property {string} mid
 * @property {string} participant
 * @property {string} track
 *
 * @typedef {object} Preference  how large a track is shown, in device pixels, and how much it matters
 * @property {string} track
 * @property {number} width
 * @property {number} height
 * @property {number} priority  0 is the highest
 *
 * @typedef {'full' | 'reduced' | 'paused'} Reception
 *
 * @typedef {{type: 'participant-joined', participant: Participant}
 *   | {type: 'participant-updated', participant: Participant}
 *   | {type: 'participant-left', participant: string, reason: string}
 *   | {type: 'room-updated', room: RoomInfo, relay?: boolean}
 *   | {type: 'grants-updated', grants: Grants}
 *   | {type: 'offer', from: string, sdp: string, tracks?: SlotTrack[]}
 *   | {type: 'answer', from: string, sdp: string}
 *   | {type: 'candidate', from: string, candidate: RTCIceCandidateInit | null}
 *   | {type: 'topology', topology: Topology, reason: string}
 *   | {type: 'route', participant: string, via: 'relay' | 'direct', reason: string}
 *   | {type: 'track-published', participant: string, track: Track}
 *   | {type: 'track-updated', participant: string, track: Track}
 *   | {type: 'track-unpublished', participant: string, track: string}
 *   | {type: 'layers', track: string, active: string[]}
 *   | {type: 'reception', tracks: {track: string, state: Reception}[]}
 *   | {type: 'quality', participants: {participant: string, up?: number, down?: number}[]}
 *   | {type: 'speakers', speakers: {participant: string, level: number}[]}
 *   | ({type: 'chat'} & ChatMessage)
 *   | {type: 'data', from: string, topic: string, content: any}
 *   | {type: 'silenced', by: string}
 *   | {type: 'knock', knock: string, name: string}
 *   | {type: 'knock-ended', knock: string, reason: string}
 *   | {type: 'relay-restarted'}
 *   | {type: 'error', code: string, message: string}
 *   | Joined} ServerMessage
 *
 * @typedef {{type: string, [key: string]: unknown}} ClientMessage
 */

export const PROTOCOL = 1;

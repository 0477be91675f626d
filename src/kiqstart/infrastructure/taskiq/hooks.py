"""Calling middlewares, and only those that have something to say."""

from inspect import isawaitable

from taskiq import AsyncBroker, TaskiqMessage, TaskiqMiddleware


def sees_sends(broker: AsyncBroker) -> bool:
    """Whether a middleware has to see each message that is sent."""
    return any(
        type(middleware).pre_send is not TaskiqMiddleware.pre_send
        or type(middleware).post_send is not TaskiqMiddleware.post_send
        for middleware in broker.middlewares
    )


async def before_send(broker: AsyncBroker, message: TaskiqMessage) -> TaskiqMessage:
    """Let the middlewares see, and change, a message that is to be sent."""
    for middleware in broker.middlewares:
        if type(middleware).pre_send is not TaskiqMiddleware.pre_send:
            changed = middleware.pre_send(message)
            message = await changed if isawaitable(changed) else changed
    return message


async def after_send(broker: AsyncBroker, message: TaskiqMessage) -> None:
    """Tell the middlewares that a message was sent."""
    for middleware in reversed(broker.middlewares):
        if type(middleware).post_send is not TaskiqMiddleware.post_send:
            seen = middleware.post_send(message)
            if isawaitable(seen):
                await seen

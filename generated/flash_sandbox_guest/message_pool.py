import betterproto2

# The constructor has no annotations in betterproto2 0.10, which a strict type checker refuses.
default_message_pool = betterproto2.MessagePool()  # type: ignore[no-untyped-call, unused-ignore]

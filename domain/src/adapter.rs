//! The framework's traits over the plain functions of the aggregates.

/// Makes an aggregate one of cqrs-es, by the `decide` and `evolve` of its module, and its event by
/// `type_name` and `version`.
macro_rules! adapt {
    ($aggregate:ident, $name:literal, $decision:ident -> $event:ident or $refusal:ident) => {
        impl cqrs_es::Aggregate for $aggregate {
            const TYPE: &'static str = $name;
            type Command = $decision;
            type Event = $event;
            type Error = $refusal;
            type Services = ();

            async fn handle(
                &mut self,
                command: Self::Command,
                (): &Self::Services,
                sink: &cqrs_es::event_sink::EventSink<Self>,
            ) -> Result<(), Self::Error> {
                for event in decide(self, &command)? {
                    sink.write(event, self).await;
                }
                Ok(())
            }

            fn apply(&mut self, event: Self::Event) {
                *self = evolve(std::mem::take(self), event);
            }
        }

        impl cqrs_es::DomainEvent for $event {
            fn event_type(&self) -> String {
                self.type_name().to_owned()
            }

            fn event_version(&self) -> String {
                self.version().to_string()
            }
        }
    };
}

pub(crate) use adapt;
